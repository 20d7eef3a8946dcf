"""Bodies kept whole for the steps that watch them; what hooks see of them comes through gw._fast.python_step."""
