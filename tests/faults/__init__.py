"""Faults under load, one script per row of the table in RELIABILITY section 5. `python -m tests.faults [names]` measures and prints them."""
