"""The REST front end: HTTP underneath, paths and bodies, and JSON as RapidJSON has it."""
