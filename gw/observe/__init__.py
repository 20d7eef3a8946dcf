"""What gw tells: the error log, the access log's fields and file, metrics from the shared segment.

Not here: who writes an access-log line (gw._fast.record), who counts (the data plane, into gw._fast.shm), the address metrics are served
on (gw.admin). Start with metrics.py. `python -m gw.observe.metrics` and `python -m gw.observe.access` print their pages of docs/.
"""

from gw.observe.files import open_log_file
from gw.observe.log import ErrorLog, open_error_log

__all__ = ["ErrorLog", "open_error_log", "open_log_file"]
