"""The C engine, and its Python face in c_core.engine."""
