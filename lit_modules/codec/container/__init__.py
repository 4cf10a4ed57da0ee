"""The pieces of the container `.lav`: numbers, header, times, records, and where they lie."""
