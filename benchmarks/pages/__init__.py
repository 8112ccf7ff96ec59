"""Results as HTML, text and pictures."""
