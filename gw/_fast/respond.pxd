"""Fixed answers of gw, in the media type that the client likes best (RFC 9110 section 12.5.1)."""
