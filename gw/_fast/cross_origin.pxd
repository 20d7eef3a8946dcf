"""Requests that one site makes to another: CORS (WHATWG Fetch section 3.3), and the check of unsafe requests against forgery."""
