"""HTTP/1.1 as bytes: cases as data, run against gw and, to judge the cases themselves, against nginx and haproxy.

`model.py` says what a case is, `requests_*.py` and `responses.py` hold them, `run.py` and `run_response.py` drive one, `scenarios.py` has those with two live ends, `report.py` prints the table.
"""
