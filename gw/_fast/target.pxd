"""The request's target changed on its way: rewritten towards the origin, or redirected back to the client."""
