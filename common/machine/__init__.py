"""Files, threads, memory and provenance: what differs between machines."""
