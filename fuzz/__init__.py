"""Any bytes at the doors that strangers reach: `python -m fuzz` says how."""
