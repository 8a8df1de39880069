// revoke, unrevoke, delete: what ends certificates.

import Authority
import UPKIProtocol

extension Task {
    static let revoke = Task("revoke", role: .node, changes: true) { call in
        let selector = try call.parameters.selector()
        let reason = try call.parameters.reason()
        let serials = try call.authority.revocationTargets(selector, reason: reason, actor: call.actor)
        return call.change(needs: .node, isVital: true) { commit in
            try commit.revoke(serials, reason: reason)
            return true
        }
    }

    static let unrevoke = Task("unrevoke", role: .admin, changes: true) { call in
        let selector = try call.parameters.selector()
        return call.change(needs: .admin) { commit in
            try commit.unrevoke(selector)
            return true
        }
    }

    static let delete = Task("delete", role: .admin, changes: true) { call in
        let selector = try call.parameters.selector()
        let authority = call.authority
        return call.change(needs: .admin, isVital: true) { commit in
            try commit.delete(selector, in: authority)
            return true
        }
    }
}
