"""What a run found, for a person to see: tables, sentences, pictures."""
