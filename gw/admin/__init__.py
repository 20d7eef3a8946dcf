"""The operator's HTTP address: `/metrics`, `/healthz`, `/readyz`.

It runs in the supervisor's loop and reads shared memory, so a scrape touches no worker. What it shows comes through `View`; it changes
nothing. Start with api.py, which is imported only when the address is served.
"""

from gw.admin.serve import serve
from gw.admin.view import View

__all__ = ["View", "serve"]
