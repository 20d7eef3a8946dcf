"""What is written down when an exchange ends; for compiled callers only."""
