"""The meeting place of the engine, the bot and the supervisor: one layout, one ledger, one channel."""
