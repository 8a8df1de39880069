"""The RA's public /certify, which asks nobody who they are.

    stdin: {"port", "directory", "requests": [{"csr", "profile"}, …]}      stdout: [{"code", "body"}, …]
"""

import ra
from fastapi.testclient import TestClient

inputs = ra.given()
authority = ra.authority(inputs["port"], inputs["directory"])
client = TestClient(ra.application(authority), raise_server_exceptions=False)
answers = [client.post("/api/v1/certify", json=request) for request in inputs["requests"]]
authority.shutdown()
ra.finish([{"code": answer.status_code, "body": answer.json()} for answer in answers])
