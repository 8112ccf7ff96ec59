"""What this project's code is measured against."""
