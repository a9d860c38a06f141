"""What a run takes: hours, memory and disk, as they were planned and as they came."""
