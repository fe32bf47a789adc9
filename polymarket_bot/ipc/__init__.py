"""The bot's side of the bridge: it listens, the engine connects."""
