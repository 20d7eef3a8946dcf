"""What an exchange may take, lowered below the route's: sizes of head and body, waits for the origin and for bodies."""
