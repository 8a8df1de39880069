"""Starts upki-ra from its PyPI package, which has no entry script: registers once, then serves.

The settings are upki-ra's own variables. Behind `ca-ctl tunnel` the CA is at 127.0.0.1, and UPKI_CA_SEED does not matter: the tunnel
puts its own token in its place.
"""

import os

from fastapi import FastAPI
from upki_ra import routes
from upki_ra.registration_authority import RegistrationAuthority


def application(ra: RegistrationAuthority) -> FastAPI:
    app = FastAPI(title="uPKI RA Server")
    app.include_router(routes.create_public_routes(ra), prefix="/api/v1")
    app.include_router(routes.create_private_routes(ra), prefix="/api/v1/private")
    app.include_router(routes.create_client_routes(ra), prefix="/api/v1/client")
    app.include_router(routes.create_acme_routes(ra))
    # Since 0.1.6.
    if hasattr(routes, "create_inventory_routes"):
        app.include_router(routes.create_inventory_routes(ra), prefix="/api/v1/inventory")
    return app


def main() -> None:
    import uvicorn

    given = os.environ.get
    directory = given("UPKI_DATA_DIR") or os.path.expanduser("~/.upki/ra")
    ra = RegistrationAuthority(
        data_dir=directory,
        ca_host=given("UPKI_CA_HOST") or "127.0.0.1",
        ca_port=int(given("UPKI_CA_PORT") or 5000),
    )
    name = given("UPKI_RA_CN") or "RA"
    if not ra.is_registered():
        names = [one.strip() for one in (given("UPKI_RA_SANS") or name).split(",") if one.strip()]
        ra.register_with_ca(
            seed=given("UPKI_CA_SEED") or "of-the-tunnel",
            cn=name,
            sans=[{"type": "DNS", "value": one} for one in names],
        )
    ra.sync_admins_from_ca()

    tls = {}
    if (given("UPKI_RA_TLS") or "").lower() in {"1", "true", "yes"}:
        tls = {"ssl_certfile": f"{directory}/ra.crt", "ssl_keyfile": f"{directory}/ra.key"}
    uvicorn.run(
        application(ra),
        host=given("UPKI_RA_HOST") or "127.0.0.1",
        port=int(given("UPKI_RA_PORT") or 8000),
        **tls,
    )


if __name__ == "__main__":
    main()
