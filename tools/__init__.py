"""Programs that write pages and files of this repository from its sources and records; no part of the library."""
