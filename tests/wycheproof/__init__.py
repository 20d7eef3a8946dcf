"""Project Wycheproof's vectors of JSON Web Signatures; a checkout of github.com/C2SP/wycheproof is not part of this repository."""
