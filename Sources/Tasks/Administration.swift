// Admins and profiles: list_admins, add_admin, remove_admin; list_profiles, get_profile, add_profile, update_profile, remove_profile.

import Authority
import PKI
import UPKIProtocol

extension Task {
    static let listAdmins = Task("list_admins", role: .node) { call in .answer(.array(call.authority.state.admins.map { .string($0.text) }))
    }

    static let addAdmin = Task("add_admin", role: .admin, changes: true) { call in
        let name = try call.parameters.string("dn")
        return call.change(needs: .admin) { commit in
            try commit.addAdmin(name)
            return true
        }
    }

    static let removeAdmin = Task("remove_admin", role: .admin, changes: true) { call in
        let name = try call.parameters.string("dn")
        return call.change(needs: .admin, isVital: true) { commit in
            try commit.removeAdmin(name)
            return true
        }
    }

    static let listProfiles = Task("list_profiles", role: .anyone) { call in
        .answer(.array(call.authority.state.profiles.keys.sorted().map { .string($0) }))
    }

    static let getProfile = Task("get_profile", role: .anyone) { call in
        .answer(call.services.describeProfile(try call.authority.state.profile(try call.parameters.string("profile"))))
    }

    static let addProfile = Task("add_profile", role: .admin, changes: true) { call in try Task.setProfile(call, mustExist: false) }

    static let updateProfile = Task("update_profile", role: .admin, changes: true) { call in try Task.setProfile(call, mustExist: true) }

    private static func setProfile(_ call: Call, mustExist: Bool) throws -> Step {
        let name = try call.parameters.string("name")
        guard let tree = call.parameters["profile"] else { throw Refusal(.missingParameter, "Missing profile parameter") }
        let profile = try call.services.readProfile(name, tree)
        let authority = call.authority
        return call.change(needs: .admin) { commit in
            try commit.setProfile(profile, mustExist: mustExist, in: authority)
            return true
        }
    }

    static let removeProfile = Task("remove_profile", role: .admin, changes: true) { call in
        let name = try call.parameters.string("name")
        let authority = call.authority
        return call.change(needs: .admin) { commit in
            try commit.removeProfile(name, in: authority)
            return true
        }
    }
}
