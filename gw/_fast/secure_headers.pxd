"""Fields of an answer, some of them only where the client came by HTTPS."""
