"""What a person sees of a run: tables and pictures, all pure functions of results."""
