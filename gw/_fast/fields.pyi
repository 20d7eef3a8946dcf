"""Fields of a head as they would be sent now. Nothing of it is for Python: gw._fast.hooks shows it as Headers."""
