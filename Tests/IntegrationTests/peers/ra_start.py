"""Starts the RA: it registers unless it is registered, and fetches the admins.

    stdin: {"port", "directory", "token", "cn", "last"}      stdout: what happened; the last one finds the registrar closed behind it
"""

import ra

inputs = ra.given()
authority = ra.authority(inputs["port"], inputs["directory"])
facts = ra.start(authority, inputs["token"], inputs["cn"])
facts["status"] = authority.reg_client.get_status() if inputs["token"] and not inputs.get("last") else None
authority.shutdown()
ra.finish(facts)
