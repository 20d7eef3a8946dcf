"""Attacks beside a clean client, one per row of RELIABILITY section 6. `python -m tests.abuse [names] --seconds 10` measures and prints them."""
