"""Who a client says it is: User-Agent against expressions."""
