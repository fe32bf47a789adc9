"""Orders, their life at the venue, settlement of fills, and the dry-run venue."""
