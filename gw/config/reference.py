"""`python -m gw.config.reference > docs/config.md` writes the reference of the configuration."""

from gw.config.document import reference

if __name__ == "__main__":
    print(reference(), end="")
