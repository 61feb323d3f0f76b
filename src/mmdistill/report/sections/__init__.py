"""What each section of the report says, as tables and sentences. Nothing here draws or renders."""
