"""Worst-case loss of outcome tokens, local limits, and the step to the shared ledger."""
