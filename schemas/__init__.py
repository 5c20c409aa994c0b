"""The contracts between producers, services and stores. Imports nothing else of the project."""
