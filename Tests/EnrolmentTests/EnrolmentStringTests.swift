import Enrolment
