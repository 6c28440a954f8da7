"""Fixtures that every test may ask for."""

from __future__ import annotations

from postgres import own_postgres_cluster, postgres_cluster, postgres_store, postgres_url, sqlite_store, store

__all__ = ["own_postgres_cluster", "postgres_cluster", "postgres_store", "postgres_url", "sqlite_store", "store"]
