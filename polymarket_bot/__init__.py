"""The Polymarket market maker: one asyncio process that quotes outcome tokens around a fair value."""
