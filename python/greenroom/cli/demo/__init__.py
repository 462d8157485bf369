"""`greenroom demo`: a whole call, transformed, recorded and checked by its content."""
