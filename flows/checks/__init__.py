"""What would fail, said before hours are spent."""
