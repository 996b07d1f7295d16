"""Who is who: ids, certificates, proofs and credential files (docs/identity)."""
