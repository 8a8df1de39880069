// The admin list and the profiles: what only an admin changes.

public import PKI

extension Commit {
    /// Adds a DN to the admin list, exactly as it was written.
    public mutating func addAdmin(_ text: String) throws {
        guard text.utf8.count <= 1_024, let admin = Admin(text: text), !text.unicodeScalars.contains(where: NameRules.isForbidden) else {
            throw AuthorityError(.invalidParameter, "Invalid dn parameter: a distinguished name such as /C=FR/O=Org/CN=name is expected")
        }
        if self.state.admins.contains(where: { $0.text == text || $0.name == admin.name }) {
            // Adding twice is no error, so that scripts can repeat themselves.
            try self.audit(target: text, detail: "already an admin")
            return
        }
        try self.store.addAdmin(text)
        self.state.add(admin)
        try self.audit(target: text)
    }

    /// Removes a DN, in whichever notation, from the admin list.
    public mutating func removeAdmin(_ text: String) throws {
        let name = DistinguishedName.parse(text)
        guard let index = self.state.admins.firstIndex(where: { $0.text == text || (name != nil && $0.name == name) }) else {
            throw AuthorityError(.notFound, "Admin not found: \(text); see: ca-ctl admin list")
        }
        let admin = self.state.admins[index]
        try self.store.removeAdmin(admin.text)
        self.state.removeAdmin(at: index)
        try self.audit(target: admin.text)
    }

    /// Adds or replaces a profile, and its file with the commit.
    public mutating func setProfile(_ profile: CertificateProfile, mustExist: Bool, in authority: Authority) throws {
        let standing = self.state.profiles[profile.name]
        if mustExist, standing == nil { throw AuthorityError(.profileNotFound, profile.name) }
        if !mustExist, standing != nil {
            throw AuthorityError.refused("Profile already exists: \(profile.name); change it with update_profile")
        }
        guard CertificateProfile.aliases[profile.name] == nil else {
            throw AuthorityError.refused(
                "Request refused: \(profile.name) is an alias of the profile \(CertificateProfile.canonicalName(profile.name))")
        }
        guard !CertificateProfile.reservedNames.contains(profile.name) else {
            throw AuthorityError.refused(
                "Request refused: \(profile.name) is the profile of the CA's own OCSP responder; choose another name")
        }
        try self.audit(target: profile.name, detail: "duration \(profile.duration) days")
        try self.stage(.storeProfile(profile), in: authority)
        self.state.profiles[profile.name] = profile
    }

    /// Removes a profile that is not built in.
    public mutating func removeProfile(_ name: String, in authority: Authority) throws {
        guard self.state.profiles[name] != nil else { throw AuthorityError(.profileNotFound, name) }
        guard !CertificateProfile.builtInNames.contains(name) else {
            throw AuthorityError.refused("Request refused: the profile \(name) is built in")
        }
        try self.audit(target: name)
        try self.stage(.removeProfile(name: name), in: authority)
        self.state.profiles[name] = nil
    }

    /// Takes over new settings and profiles (`ca-ctl reload`).
    public mutating func reload(rules: Rules, profiles: [CertificateProfile], in authority: Authority) throws {
        try self.audit(detail: "\(profiles.count) profiles")
        // What earlier changes of this batch did to profiles is not in the folder yet.
        let (before, now) = (authority.state.profiles, self.state.profiles)
        let fresh = Set(before.keys).union(now.keys).filter { before[$0] != now[$0] }
        self.state.profiles = [:]
        for profile in profiles where !CertificateProfile.reservedNames.contains(profile.name) {
            self.state.profiles[profile.name] = profile
        }
        for name in fresh { self.state.profiles[name] = now[name] }
        self.followUps.append { authority.setRules(rules) }
    }
}
