"""Pure decisions: fair value and quotes. No await, no clock, no network."""
