"""Audio data: generated demo scenes, labelled folders, and their splits."""
