"""What a run will take, measured by doing a little of it: of what is done, how long it takes and how it grows."""
