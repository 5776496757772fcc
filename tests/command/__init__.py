"""Tests of safemigrate: phases, ledger, checklist, plan."""
