"""The id of a request: made in several forms, or taken from who sends one."""
