// Changes of files that go with commits: staged before, made after, and only then.

import Authority
import PKI
import Synchronization
import TestAuthority
import Testing

@Suite("Files that go with commits")
struct FileChangeTests {
    private func change(_ task: String, _ run: @escaping @Sendable (inout Commit) throws -> Bool) -> Change<Bool> {
        Change(TestAuthority.context(task, TestAuthority.operatorOnHost), needs: .local, run: run)
    }

    private func profile(_ name: String) throws -> CertificateProfile {
        var profile = try #require(CertificateProfile.builtIns(baseSubject: []).first { $0.name == "server" })
        profile.name = name
        return profile
    }

    @Test("a reload in the same batch does not undo what the batch did to profiles, whose files are not there yet")
    func reloadInABatch() throws {
        let test = try TestAuthority(profiles: [try self.profile("old"), try self.profile("gone")])
        let authority = test.authority
        var longer = try self.profile("old")
        longer.duration = 9
        let (new, updated, folder) = (try self.profile("new"), longer, Array(authority.state.profiles.values))
        let report = authority.commit([
            self.change("add_profile") { commit in
                try commit.setProfile(new, mustExist: false, in: authority)
                return true
            },
            self.change("update_profile") { commit in
                try commit.setProfile(updated, mustExist: true, in: authority)
                return true
            },
            self.change("remove_profile") { commit in
                try commit.removeProfile("gone", in: authority)
                return true
            },
            self.change("reload") { commit in
                try commit.reload(rules: Rules(), profiles: folder, in: authority)
                return true
            },
        ])
        for result in report.results { #expect(try result.get()) }
        #expect(authority.state.profiles["new"] != nil && authority.state.profiles["gone"] == nil)
        #expect(authority.state.profiles["old"]?.duration == 9)
        #expect(test.folders.profileNames == ["new", "old"])
    }

    @Test("nothing is made before the commit, and nothing of a batch that is rolled back")
    func afterTheCommit() throws {
        let test = try TestAuthority()
        let authority = test.authority
        let (first, folders) = (try self.profile("first"), test.folders)
        let seen = Mutex<Set<String>>([])
        let report = authority.commit([
            self.change("add_profile") { commit in
                try commit.setProfile(first, mustExist: false, in: authority)
                seen.withLock { $0 = folders.profileNames }
                return true
            }
        ])
        for result in report.results { #expect(try result.get()) }
        #expect(seen.withLock { $0 }.isEmpty)
        #expect(folders.profileNames == ["first"])
        let second = try self.profile("second")
        let failed = authority.commit([
            self.change("add_profile") { commit in
                try commit.setProfile(second, mustExist: false, in: authority)
                throw AuthorityError(.storage, "the disk is gone")
            }
        ])
        for result in failed.results { #expect(throws: AuthorityError.self) { try result.get() } }
        #expect(folders.profileNames == ["first"])
    }
}
