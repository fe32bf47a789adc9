"""What must survive the process: orders by hash, fills by key, the day's baseline."""
