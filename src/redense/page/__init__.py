"""Pages that need nothing beside them: HTML with charts, tables and the library that draws, in one file."""
