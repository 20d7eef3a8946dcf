"""Field values made from the request, and renaming of fields: header edits that cannot be written down beforehand."""
